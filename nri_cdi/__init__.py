"""nri-cdi: Kubernetes containers get their CDI devices through NRI, exactly or not at all."""

__version__ = "0.1.0"
