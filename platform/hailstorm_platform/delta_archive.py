"""
An image archive with only the layers that a node lacks.

`docker save` writes whole images, and importing one costs seconds per 100 MB even
when the node has every layer but the last. containerd names what it has unpacked
by chain ids, which follow from an image's configuration, so the layers already
there can be left out. The result is an OCI layout.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The name of each stack of layers, from the bottom up, by OCI's definition."""
    chain: list[str] = []
    for diff_id in diff_ids:
        if chain:
            joined = f"{chain[-1]} {diff_id}".encode()
            chain.append("sha256:" + hashlib.sha256(joined).hexdigest())
        else:
            chain.append(diff_id)
    return chain


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def write(saved: Path, target: Path, present: set[str], full_name: Callable[[str], str]) -> int:
    """
    Rewrite a `docker save` archive without the layers a node has.

    `present` are the chain ids that the node has unpacked; `full_name` turns a
    tag into the name containerd keeps. Returns how many layers are left.
    """
    with tarfile.open(saved) as source, tarfile.open(target, "w") as sink:
        written: set[str] = set()

        def put(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            sink.addfile(info, io.BytesIO(data))

        def put_blob(data: bytes) -> dict[str, Any]:
            digest = _digest(data)
            if digest not in written:
                written.add(digest)
                put(f"blobs/sha256/{digest.removeprefix('sha256:')}", data)
            return {"digest": digest, "size": len(data)}

        count = 0
        entries = []
        for image in json.loads(_read(source, "manifest.json")):
            config = _read(source, image["Config"])
            diff_ids = json.loads(config)["rootfs"]["diff_ids"]
            layers = []
            chains = chain_ids(diff_ids)
            for path, diff_id, chain in zip(image["Layers"], diff_ids, chains, strict=True):
                # A layer met twice is a link to its first copy.
                member = _resolve(source, path)
                layers.append({"mediaType": _LAYER, "digest": diff_id, "size": member.size})
                if chain in present or diff_id in written:
                    continue
                written.add(diff_id)
                count += 1
                info = tarfile.TarInfo(f"blobs/sha256/{diff_id.removeprefix('sha256:')}")
                info.size = member.size
                sink.addfile(info, source.extractfile(member))
            manifest = {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {"mediaType": _CONFIG, **put_blob(config)},
                "layers": layers,
            }
            described = put_blob(json.dumps(manifest).encode())
            for tag in image["RepoTags"] or []:
                names = {"io.containerd.image.name": full_name(tag)}
                entries.append({"mediaType": _MANIFEST, **described, "annotations": names})
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}
        put("index.json", json.dumps(index).encode())
        put("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    return count


def _resolve(source: tarfile.TarFile, path: str) -> tarfile.TarInfo:
    member = source.getmember(path)
    # Python resolves a link's target only when it reads it.
    while member.issym() or member.islnk():
        parts = (Path(member.name).parent / member.linkname).parts if member.issym() else ()
        names: list[str] = []
        for part in parts or Path(member.linkname).parts:
            if part == "..":
                names.pop()
            else:
                names.append(part)
        member = source.getmember("/".join(names))
    return member


def _read(source: tarfile.TarFile, path: str) -> bytes:
    stream = source.extractfile(_resolve(source, path))
    if stream is None:
        raise KeyError(path)
    return stream.read()
