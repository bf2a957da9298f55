//! The built binary against real databases, real keyrings, real components.

mod architecture;
mod bad_input;
mod blocks;
mod documentation;
mod durability;
mod faults;
mod keys;
mod postgres;
mod questions;
mod sandbox;
mod secrets;
mod sqlite;
