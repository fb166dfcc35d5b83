"""The files of a published Windows image, beside ``manifest.json`` and ``credentials.json``."""

from __future__ import annotations

#: Starts with the plain test-signing boot entry.
DISK = "disk.qcow2"
#: An overlay of it that differs in which boot entry is the default: it starts with the kernel debugger on COM2.
KD_DISK = "disk-kd.qcow2"
#: UEFI firmware and the variable store that Setup left; each guest gets a copy of the latter.
FIRMWARE_CODE = "firmware.fd"
FIRMWARE_VARS = "vars.qcow2"
#: What the image was made from, when it expires, and what the acceptance boot found.
RECORD = "image.json"
#: Answer file and scripts as they were used, the password left out.
INPUTS = "inputs.zip"
#: What happened during the installation.
EVENTS = "install.jsonl"
