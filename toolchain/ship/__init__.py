"""The main job: from a supernet to one folder a device that ships, with proof."""

from fednas.toolchain.ship.job import ShipJob, ShippedDevice, ship

__all__ = ["ShipJob", "ShippedDevice", "ship"]
