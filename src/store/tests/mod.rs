//! Tests of the store as a whole, on simulated and on real files.

mod damage;
mod format;
mod machine;
mod mirror;
mod model;
mod real;
mod repair;
mod schedules;
pub(super) mod sim;
mod sim_rows;
mod spill;
