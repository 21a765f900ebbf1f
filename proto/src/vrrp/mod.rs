//! The VRRP machine (skeleton).
