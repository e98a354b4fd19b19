"""Files and folders that are whole or absent: written beside their final path, renamed at the end, checked before they are used."""

from armlib.storage.digests import digest, file_digest, short_digest
from armlib.storage.disk import canonical, check_writable, configured_folder, disk_errors, flush
from armlib.storage.files import (
    atomic_file,
    atomic_folder,
    cache_folder,
    kept,
    link_or_copy,
    read_json,
    read_record,
    remove,
    sweep,
    sweep_unless_held,
    write_json,
)
from armlib.storage.locks import is_held, locked
from armlib.storage.seals import MANIFEST, damage, seal, whole_file

__all__ = [
    "MANIFEST",
    "atomic_file",
    "atomic_folder",
    "cache_folder",
    "canonical",
    "check_writable",
    "configured_folder",
    "damage",
    "digest",
    "disk_errors",
    "file_digest",
    "flush",
    "is_held",
    "kept",
    "link_or_copy",
    "locked",
    "read_json",
    "read_record",
    "remove",
    "seal",
    "short_digest",
    "sweep",
    "sweep_unless_held",
    "whole_file",
    "write_json",
]
