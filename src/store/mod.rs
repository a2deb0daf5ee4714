//! Durable records: the only room that names sled.
