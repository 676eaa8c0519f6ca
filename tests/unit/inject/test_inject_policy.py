"""The operator's policy: what it lets through, and which rule a refusal names."""

from __future__ import annotations

import pytest

from nri_cdi.inject.policy import ALLOW_ALL, Policy, check
from nri_cdi.inject.promise import Promise
from nri_cdi.inject.refusals import Reason, Refusal, Subject
from nri_cdi.inject.request import Hook, Mount

SUBJECT = Subject("team-a", "pod", "main")
NAMES = ("vendor.com/gpu=0", "vendor.com/nic=1")
PROMISED = Promise(
    nodes={},
    mounts={"/lib/x.so": Mount("/lib/x.so", "/opt/vendor/x.so", "", ("bind",))},
    env={},
    hooks=(Hook("createContainer", "/usr/bin/vendor-hook", (), (), None),),
)

ALLOWED = {
    "an empty policy": ALLOW_ALL,
    "the kinds by name": Policy(kinds=("vendor.com/gpu", "vendor.com/nic")),
    "the kinds by a pattern": Policy(kinds=("vendor.com/*",)),
    "the namespace": Policy(namespaces=("team-*",)),
    "the hook itself": Policy(hooks=("/usr/bin/vendor-hook",)),
    "a directory above the hook": Policy(hooks=("/usr/bin/",)),
    "a directory above the mount": Policy(mounts=("/opt/vendor",)),
    "the whole host": Policy(hooks=("/",), mounts=("/",)),
}

DENIED = {
    "another kind": (Policy(kinds=("vendor.com/gpu",)), "allow-kind", "vendor.com/nic=1"),
    "another namespace": (Policy(namespaces=("team-b", "kube-*")), "allow-namespace", "team-a"),
    "another hook": (Policy(hooks=("/usr/bin/other",)), "allow-hook", "/usr/bin/vendor-hook"),
    "a hook whose path only begins alike": (Policy(hooks=("/usr/bin/vendor",)), "allow-hook", "/usr/bin/vendor-hook"),
    "a mount beside the allowed directory": (Policy(mounts=("/opt/vend",)), "allow-mount", "/opt/vendor/x.so"),
}


@pytest.mark.parametrize("policy", ALLOWED.values(), ids=ALLOWED)
def test_what_the_policy_names_is_allowed(policy: Policy) -> None:
    check(policy, NAMES, PROMISED, SUBJECT)


@pytest.mark.parametrize(("policy", "rule", "what"), DENIED.values(), ids=DENIED)
def test_a_refusal_names_the_rule_and_what_it_does_not_allow(policy: Policy, rule: str, what: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(policy, NAMES, PROMISED, SUBJECT)
    assert refused.value.reason is Reason.POLICY_DENIED
    assert rule in str(refused.value)
    assert what in str(refused.value)


def test_a_path_that_climbs_out_of_the_allowed_directory_is_not_below_it() -> None:
    climbing = Promise({}, {"/x": Mount("/x", "/opt/vendor/../../etc/shadow", "", ("bind",))}, {}, ())
    with pytest.raises(Refusal, match="allow-mount"):
        check(Policy(mounts=("/opt/vendor",)), NAMES, climbing, SUBJECT)
