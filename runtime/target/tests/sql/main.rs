//! Database servers, on real ones.

#![allow(missing_docs, reason = "tests")]

mod attacks;
mod effects;
mod mariadb;
mod own;
mod reads;
mod secrets;
mod sqlite;
mod support;
