//! Load balancing: which real servers a virtual server has, and with what weight.

pub mod wanted;
