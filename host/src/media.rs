//! Media threads: drive the media core over real ports.
