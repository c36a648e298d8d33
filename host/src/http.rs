//! Outgoing HTTP for plugins.
