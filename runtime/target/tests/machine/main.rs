//! A machine on real files: every effect, every way out that an attacker has, and what
//! is left after a failure.

mod atomic;
mod commands;
mod crash;
mod effects;
mod escapes;
mod figures;
mod inverse;
mod preview;
mod reads;
mod support;
mod validate;
