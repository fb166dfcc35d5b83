"""`lab bench` measures the image's own VM, whatever the lab file adds to the VMs of runs."""

from __future__ import annotations

from pathlib import Path

from lab.cli.bench import with_the_images_machine
from lab.config import LabFile, load_settings


def test_the_lab_file_does_not_change_what_is_measured(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("accelerator: tcg\ndebug: kd\nvm:\n  memory: 2G\n  cpus: 4\n", encoding="utf-8")
    settings = load_settings({"image": "other"}, environ={}, cwd=tmp_path)
    assert settings.values.vm.memory == 2048
    assert with_the_images_machine(settings).values == LabFile(image="other", accelerator="tcg")
