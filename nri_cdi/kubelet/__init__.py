"""The kubelet half: what the kubelet is told of a node's CDI devices, over the device plugin API v1beta1.

A snapshot of CDI specs becomes an inventory (`inventory`); each configured kind is one resource, served on one unix
socket (`plugin`) and registered again whenever the kubelet lost sight of it (`standing` decides, `registration` does).
Allocate answers annotations and guard mounts from memory (`allocate`); it never fails for a reason that can pass,
because its error ends the pod. PreStartContainer is the first place that may say no.

`service.KubeletHalf` is the whole; importing this package alone brings no grpc.
"""
