"""An edge export toolchain for federated neural architecture search."""
