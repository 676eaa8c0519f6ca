"""The kubelet half: what the kubelet is told of a node's CDI devices, over the device plugin API v1beta1.

A snapshot of CDI specs and looks at the host become an inventory (`inventory`: which names are advertised, `identity`; how they
are, `condition` and `health`), which `keeper` keeps true. Each configured kind is one resource, served on one unix socket (`plugin`)
and registered again whenever the kubelet lost sight of it (`standing` and `registry_standing` decide, `registration` and `registry` do).
Allocate answers annotations and guard mounts from memory (`allocate`); it never fails for a reason that can pass,
because its error ends the pod. PreStartContainer is the first place that may say no.

`service.KubeletHalf` is the whole; importing this package alone brings no grpc.
"""
