"""What a device is."""

from fednas.profiles.profile import PRECISIONS, RUNTIMES, DeviceProfile, Figure, TensorRT

__all__ = ["PRECISIONS", "RUNTIMES", "DeviceProfile", "Figure", "TensorRT"]
