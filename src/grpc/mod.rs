//! The protocol edge: convert, call the engine, convert back.
