//! The lease protocol (safety.md: V2 to V7, R1 and R3 to R9, R12) as a small model that a checker walks through
//! exhaustively.
//!
//! What must stay true of this crate: the model is the protocol of `keepone-proto`, no simpler where it
//! matters. The tests drive the real voter and the real holder beside the model's and compare.

#![allow(
    clippy::indexing_slicing,
    reason = "places in arrays of fixed size, made by the model; nothing comes from outside"
)]

pub mod check;
pub mod guard;
pub mod protocol;
pub mod state;
