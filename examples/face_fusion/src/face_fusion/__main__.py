import sys

from face_fusion.cli import main

sys.exit(main())
