//! The store through its port, on real files.

mod backup;
mod concurrency;
mod crash;
mod holds;
mod known;
mod leases;
mod ledger;
mod model;
mod opening;
mod records;
mod retention;
mod speed;
mod support;
