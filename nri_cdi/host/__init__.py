"""What touches the node: its files under a host root, its spec directories, and the slot an NRI half holds."""
