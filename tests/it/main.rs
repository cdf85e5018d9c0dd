//! One test binary: each module holds one side of the product.

mod console_fuzz;
mod logs;
mod signatures;
