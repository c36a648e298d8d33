//! Re-runs recorded decisions with another version of a plugin.
