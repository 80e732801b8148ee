"""What an operator starts from: a Gramine manifest, a recipe for a confidential virtual machine.

Both hold ``attest serve`` and nothing else that talks. They are rendered and checked for their
syntax; whether they start is known on the hardware only, and each says so in its first lines.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelseal.errors import InputMissing, Misuse
from modelseal.inference import packing, statement

UNTESTED = "Rendered by modelseal and checked for its syntax; NOT tested on the hardware it is for."
_SIZE_STEP = 1 << 20
_PLAIN = re.compile(r"[A-Za-z0-9._:/@,=+\[\]-]+")
_HIDDEN_STATE = "/run/modelseal"


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be served: sealed models by name, the license server, its trust, an address."""

    models: Mapping[str, Path]
    server: str
    trust: Path
    listen: str

    def check(self) -> None:
        """``Misuse``, ``InputMissing`` for what could not be served."""
        if not self.models:
            raise Misuse("nothing to serve: name a sealed model")
        for name, path in self.models.items():
            if not statement.is_name(name):
                raise Misuse("a model's name has letters, digits, dots, dashes and underscores")
            if not path.is_file():
                raise InputMissing("there is no such file", path=str(path))
            if _is_odd(path.name):
                raise Misuse("the file's name has characters that a command line reads otherwise")
        if not self.trust.is_file():
            raise InputMissing("there is no such file", path=str(self.trust))
        plain = [self.server, self.listen]
        if not self.server.startswith("https://") or any(_is_odd(text) for text in plain):
            raise Misuse("the license server is https://host:port, --listen an address and a port")

    def command(self, models: str, trust: str) -> list[str]:
        """``modelseal attest serve`` with its files in the folder ``models`` and at ``trust``."""
        served = [f"{name}={models}/{path.name}" for name, path in self.models.items()]
        more = ["--listen", self.listen, "--server", self.server, "--trust", trust]
        return ["attest", "serve", *served, *more, "--state", _HIDDEN_STATE]


def gramine(wish: Wish, *, prefix: Path, enclave_bytes: int, threads: int) -> dict[str, bytes]:
    """``modelseal.manifest`` for this very installation, each trusted file with its hash.

    ``prefix`` is where Gramine is installed (the folder with ``libsysdb.so``). Sign it with
    ``gramine-sgx-sign``; MRENCLAVE covers every hash in it.
    """
    wish.check()
    if enclave_bytes < 1 << 28 or enclave_bytes & (enclave_bytes - 1):
        raise Misuse("an enclave's size is a power of two, 256M at least")
    if not 8 <= threads <= 512:
        raise Misuse("an enclave has 8 to 512 threads")
    program, parts = packing.python(), list(packing.files())
    linked = [part.path for part in parts if packing.is_linked(part.path)]
    system = packing.libraries([program, *linked])
    kept = [*(part.path for part in parts), program, *_other_libraries(system, prefix)]
    models = [path.resolve() for path in wish.models.values()]
    folder = PurePosixPath("/models")
    trusted = [*sorted(set(kept)), *models, wish.trust.resolve()]
    mounts = [
        {"path": "/lib", "uri": f"file:{prefix / 'runtime' / 'glibc'}"},
        *({"path": str(top), "uri": f"file:{top}"} for top in _tops(kept)),
        *({"path": str(folder / path.name), "uri": f"file:{path}"} for path in models),
        {"path": "/models/trust.json", "uri": f"file:{wish.trust.resolve()}"},
        {"type": "tmpfs", "path": "/tmp"},  # noqa: S108 - memory of the enclave
        {"type": "tmpfs", "path": "/run"},
    ]
    argv = [str(program), "-I", "-m", "modelseal"]
    argv += [*wish.command(str(folder), "/models/trust.json"), "--by", "gramine"]
    lines = [
        f"# {UNTESTED}",
        "# gramine-sgx-sign --manifest modelseal.manifest --output modelseal.manifest.sgx",
        "",
        f"libos.entrypoint = {_toml(str(program))}",
        f"loader.entrypoint.uri = {_toml(f'file:{prefix}/libsysdb.so')}",
        'loader.log_level = "error"',
        f"loader.argv = {_toml(argv)}",
        f"loader.env.LD_LIBRARY_PATH = {_toml(_search_path(system))}",
        'loader.env.HOME = "/run"',
        'loader.env.PYTHONDONTWRITEBYTECODE = "1"',
        f"loader.env.OMP_NUM_THREADS = {_toml(str(max(1, threads // 8)))}",
        "# Give it as a secret of its own where the host must not read it; see the how-to.",
        "loader.env.MODELSEAL_LICENSE_KEY = { passthrough = true }",
        "",
        "sys.enable_sigterm_injection = true",
        "sys.enable_extra_runtime_domain_names_conf = true",
        "",
        "sgx.debug = false",
        'sgx.remote_attestation = "dcap"',
        'sgx.file_check_policy = "strict"',
        f'sgx.enclave_size = "{enclave_bytes // _SIZE_STEP}M"',
        f"sgx.max_threads = {threads}",
        "",
        "fs.mounts = [",
        *(f"  {_toml(mount)}," for mount in mounts),
        "]",
        "",
        "sgx.trusted_files = [",
        f"  {_toml(f'file:{prefix}/libsysdb.so')},",
        f"  {_toml(f'file:{prefix}/runtime/glibc/')},",
        *(f"  {_toml({'uri': f'file:{path}', 'sha256': _digest(path)})}," for path in trusted),
        "]",
    ]
    return {"modelseal.manifest": "\n".join(lines).encode() + b"\n"}


def cvm(wish: Wish, *, requirement: str) -> dict[str, bytes]:
    """A folder for ``mkosi``: a system in the initrd of one unified kernel image.

    The service is its only unit of ours; its state is in memory alone, so every start is a new
    device. ``requirement`` is what pip installs.
    """
    wish.check()
    if _is_odd(requirement):
        raise Misuse("what pip installs is one requirement without white space")
    command = " ".join(wish.command("/usr/share/modelseal", "/usr/share/modelseal/trust.json"))
    found = {
        "mkosi.conf": _MKOSI,
        "mkosi.prepare.chroot": _PREPARE.replace("@REQUIREMENT@", requirement),
        "mkosi.extra/usr/lib/modelseal-serve": _START.replace("@SERVE@", command),
        "mkosi.extra/usr/lib/systemd/system/modelseal.service": _UNIT,
        "mkosi.extra/usr/lib/systemd/system-preset/00-modelseal.preset": _PRESET,
        "mkosi.extra/usr/lib/tmpfiles.d/modelseal.conf": f"d {_HIDDEN_STATE} 0700 modelseal -\n",
        "mkosi.extra/usr/lib/sysusers.d/modelseal.conf": _USER,
    }
    files = {name: text.replace("@UNTESTED@", UNTESTED).encode() for name, text in found.items()}
    place = "mkosi.extra/usr/share/modelseal"
    files[f"{place}/trust.json"] = wish.trust.read_bytes()
    for path in wish.models.values():
        files[f"{place}/{path.name}"] = path.read_bytes()
    return files


def _toml(value: object) -> str:
    """TOML of texts, lists and maps: a JSON text is a TOML text."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputMissing(error.strerror or "", path=str(path)) from None


def _other_libraries(system: Sequence[Path], prefix: Path) -> list[Path]:
    """Without those of the C library: Gramine brings its own, patched."""
    own = prefix / "runtime" / "glibc"
    brings = {path.name for path in own.iterdir()} if own.is_dir() else set(_GLIBC)
    return [path for path in system if path.name not in brings]


_GLIBC = ("ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0",
          "librt.so.1", "libutil.so.1", "libresolv.so.2", "libanl.so.1")  # fmt: skip


def _search_path(system: Sequence[Path]) -> str:
    return ":".join(dict.fromkeys(["/lib", *(str(path.parent) for path in system)]))


def _tops(paths: Sequence[Path]) -> list[Path]:
    """The fewest folders that hold all of ``paths``, none of them the root."""
    found: list[Path] = []
    for folder in sorted({path.parent for path in paths}, key=lambda p: len(p.parts)):
        if not any(folder.is_relative_to(known) for known in found):
            found.append(folder)
    return sorted(found)


def _is_odd(text: str) -> bool:
    return _PLAIN.fullmatch(text) is None


_MKOSI = """\
# @UNTESTED@
# mkosi build            (mkosi 24 or newer)
#
# The whole system lies in the initrd of one unified kernel image, so that one measurement covers
# kernel, command line and every file; there is no disk that the host could change.
#   TDX:     firmware measures the image into RTMR1 and RTMR2.
#   SEV-SNP: the launch measurement covers the image only where the host loads it directly (QEMU:
#            -kernel with kernel-hashes=on), or a virtual TPM inside the guest measures it. With
#            anything else it covers the firmware alone, and a policy over it proves too little.

[Distribution]
Distribution=debian
Release=trixie

[Output]
Format=esp
ImageId=modelseal
Output=modelseal

[Content]
Bootable=yes
KernelCommandLine=console=ttyS0 lockdown=confidentiality panic=-1
WithDocs=no
Packages=
        systemd
        systemd-boot-efi
        systemd-resolved
        udev
        linux-image-cloud-amd64
        python3
        python3-venv
        ca-certificates

[Build]
WithNetwork=yes
"""
_PREPARE = """\
#!/bin/sh
# @UNTESTED@
set -eu
[ "$1" = final ] || exit 0
python3 -m venv /usr/lib/modelseal
/usr/lib/modelseal/bin/pip install --no-cache-dir --only-binary=:all: "@REQUIREMENT@"
"""
_UNIT = """\
# @UNTESTED@
[Unit]
Description=modelseal inference
Wants=network-online.target
After=network-online.target

[Service]
User=modelseal
SupplementaryGroups=tss
ImportCredential=modelseal.*
ExecStart=/usr/lib/modelseal-serve
Restart=on-failure
LimitMEMLOCK=infinity
LimitCORE=0
ProtectSystem=strict
ReadWritePaths=/run/modelseal
PrivateTmp=yes
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
"""
_START = """\
#!/bin/sh
# @UNTESTED@
# The license key comes from the host, as the systemd credential modelseal.license-key. Whoever has
# it takes a seat; the keys of the models come for the measurement, not for it.
set -eu
read -r MODELSEAL_LICENSE_KEY < "$CREDENTIALS_DIRECTORY/modelseal.license-key"
export MODELSEAL_LICENSE_KEY
exec /usr/lib/modelseal/bin/modelseal @SERVE@
"""
_PRESET = """\
enable modelseal.service
enable systemd-networkd.service
enable systemd-resolved.service
disable *
"""
_USER = """\
g tss - -
u modelseal - "modelseal inference" /run/modelseal
m modelseal tss
"""
