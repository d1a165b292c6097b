//! Random numbers, which a simulated machine draws from its seed.

use rand::distr::{Distribution, StandardUniform};

pub(crate) fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    #[cfg(test)]
    if let Some(machine) = crate::simulation::here() {
        return machine.random();
    }
    rand::random()
}
