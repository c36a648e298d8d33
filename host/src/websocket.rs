//! WebSocket sessions between connectors and AI platforms.
