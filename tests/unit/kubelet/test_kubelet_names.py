from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.kubelet.names import resource_name_problem, resource_names

GPU, NIC = "device.example.com/gpu", "vendor.com/nic"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("gpu", "must have the form of a CDI kind"),
        ("", "must have the form of a CDI kind"),
        ("/gpu", "must have the form of a CDI kind"),
        ("vendor.com/", "must have the form of a CDI kind"),
        ("vendor.com/a/b", "must have the form of a CDI kind"),
        ("kubernetes.io/x", "Kubernetes' own"),
        ("sub.kubernetes.io/x", "Kubernetes' own"),
        ("requests.example.com/x", "quota"),
        ("Vendor.com/gpu", "DNS name"),
        ("ven_dor.com/gpu", "DNS name"),
        ("vendor..com/gpu", "DNS name"),
        ("vendor-/gpu", "DNS name"),
        ("v" * 245 + "/gpu", "DNS name"),
        ("vendor.com/" + "g" * 64, "at most 63 bytes"),
        ("vendor.com/g pu", "class"),
        ("vendor.com/gpu\n", "class"),
        ("vendor.com/gpu-", "class"),
        ("vendor.com/gpué", "class"),
    ],
)
def test_a_name_that_kubernetes_refuses_is_said_with_what_it_must_be(kind: str, words: str) -> None:
    problem = resource_name_problem(kind)
    assert problem is not None
    assert problem.startswith(repr(kind))
    assert words in problem


@pytest.mark.parametrize(
    "kind",
    [GPU, "v/x", "nvidia.com/gpu", "vendor.com/G_p.U-1", "v" * 244 + "/" + "g" * 63, "requests/x", "0.1/2"],
)
def test_a_name_that_kubernetes_takes_has_no_problem(kind: str) -> None:
    assert resource_name_problem(kind) is None


@given(st.text(string.printable) | st.from_regex(r"[a-zA-Z0-9._-]{1,5}/[a-zA-Z0-9._-]{1,5}", fullmatch=True))
def test_any_text_has_a_problem_or_has_the_form_vendor_class(kind: str) -> None:
    if resource_name_problem(kind) is None:
        vendor, _, cls = kind.partition("/")
        assert vendor
        assert vendor == vendor.lower()
        assert cls
        assert set(kind) <= set(string.ascii_letters + string.digits + "-._/")


def test_a_resource_is_named_as_its_kind_or_as_the_configuration_says() -> None:
    assert resource_names([GPU, "Vendor_x.com/nic=vendor-x.com/nic", GPU]) == {
        GPU: GPU,
        "Vendor_x.com/nic": "vendor-x.com/nic",
    }


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["Vendor.com/gpu"], "give it another name: --resource Vendor.com/gpu=RESOURCE"),
        ([f"{GPU}=Vendor.com/gpu"], "'Vendor.com/gpu' cannot be a Kubernetes resource"),
        ([GPU, f"{GPU}={NIC}"], f"the kind {GPU} cannot be two resources, {GPU} and {NIC}"),
        ([GPU, f"{NIC}={GPU}"], f"the resource {GPU} cannot be two kinds, {GPU} and {NIC}"),
        (["Vendor.com/gpu", "gpu", GPU], "'gpu' cannot be"),
    ],
)
def test_settings_that_kubernetes_refuses_or_that_contradict_each_other_are_said_all_at_once(
    settings: list[str], words: str
) -> None:
    with pytest.raises(ValueError, match="cannot be") as refused:
        resource_names(settings)
    assert words in str(refused.value)
