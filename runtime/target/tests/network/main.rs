//! The network of a real namespace: what is put is seen, what is removed is gone, what is
//! others' stays, and a table comes back as it went.

mod objects;
mod space;
mod tables;
mod watched;
