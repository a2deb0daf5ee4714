//! Inside views.
