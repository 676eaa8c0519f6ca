"""What tests stand on, ours and other people's: peers that speak the real protocols, and strategies for our values."""
