"""A private world with a real containerd in it, for the tests and the demo of nri-cdi.

`Sandbox` is the world (namespaces with private standard paths), `Node` a containerd in it, `Cluster` a whole Kubernetes node around
one, `Agent` an nri-cdi process, `Cri` the client, `mock` the devices without hardware. Needs root, and what `hack/get-runtime` and
`hack/get-kubernetes` put into the cache.
"""
