"""Code trees and virtual environments: received, unpacked, built by the deploy user, taken over by root."""
