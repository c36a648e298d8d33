//! Carries a call's questions to the plugins and the answers back.
