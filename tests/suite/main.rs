//! The suite: every test speaks HTTP to a real host with a real receiver and a real database file.

mod commands;
mod crash;
mod credentials;
mod delivering;
mod plugins;
mod problems;
mod publishing;
mod queries;
mod targets;
mod webhooks;
