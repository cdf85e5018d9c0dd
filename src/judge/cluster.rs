//! Groups of unknown failures.
