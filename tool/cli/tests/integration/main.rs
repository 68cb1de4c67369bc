//! Tests of the program as people and build systems run it, and of the workspace's own rules.

mod answers;
mod bolt;
mod cache;
mod closures;
mod differences;
mod disks;
mod documents;
mod golden;
mod images;
mod keys;
mod layers;
mod listed;
mod mistakes;
mod packages;
mod run;
mod stages;
mod steps;
mod terminal;
mod verify;
mod warnings;
mod worker;
mod workspace;
