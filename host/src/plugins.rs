//! The watched plugin folder in front of the registry.
