"""Running sealed models: the one composition lease -> decide -> data key -> open -> framework.

``view`` is the seam every public loader goes through; ``hook`` serves programs that were never
changed; ``run`` starts one under the hook. Nothing here is imported before it is used.
"""
