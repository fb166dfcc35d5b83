"""Capability names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError
from lab.guest import capability
from lab.image.wine import recipe as wine


def test_known_names_pass_in_order_and_once() -> None:
    assert capability.check_names(["ssh", "winrm", "ssh"]) == ("ssh", "winrm")


def test_an_unknown_name_comes_with_similar_ones_and_its_place() -> None:
    with pytest.raises(ConfigError, match=r"lab.yaml: images.0: there is no guest capability 'direct-io'") as caught:
        capability.check_names(["direct-io"], file="lab.yaml", key="images.0")
    assert caught.value.hint == "did you mean direct_io?"


@given(st.text())
def test_a_hint_is_always_given(name: str) -> None:
    if name not in capability.capabilities():
        with pytest.raises(ConfigError) as caught:
            capability.check_names([name])
        assert caught.value.hint


def test_missing_capabilities_are_found_in_the_given_order() -> None:
    assert capability.missing(["nt_kernel", "winrm", "bugcheck"], ["winrm", "ssh"]) == ("nt_kernel", "bugcheck")


def test_every_capability_is_explained_in_one_line() -> None:
    for name in capability.capabilities():
        assert "\n" not in capability.describe(name)
        assert len(capability.describe(name)) > 15


def test_the_free_guest_claims_only_what_is_known() -> None:
    assert capability.check_names(wine.CAPABILITIES) == wine.CAPABILITIES
