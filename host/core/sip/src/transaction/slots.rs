//! A store whose keys are never used twice, with constant-time access and no hashing.

#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> u64 {
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize].value = Some(value);
                index
            }
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    value: Some(value),
                });
                (self.slots.len() - 1) as u32
            }
        };
        u64::from(self.slots[index as usize].generation) << 32 | u64::from(index)
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<T> {
        let slot = self
            .slots
            .get_mut(key as u32 as usize)
            .filter(|slot| u64::from(slot.generation) == key >> 32)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key as u32);
        Some(value)
    }

    pub(super) fn get(&self, key: u64) -> Option<&T> {
        self.slots
            .get(key as u32 as usize)
            .filter(|slot| u64::from(slot.generation) == key >> 32)?
            .value
            .as_ref()
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        self.slots
            .get_mut(key as u32 as usize)
            .filter(|slot| u64::from(slot.generation) == key >> 32)?
            .value
            .as_mut()
    }

    /// Keys in order of their slots.
    pub(super) fn keys_where(&self, wanted: impl Fn(&T) -> bool) -> Vec<u64> {
        let keys = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.value.as_ref().is_some_and(&wanted));
        keys.map(|(index, slot)| u64::from(slot.generation) << 32 | index as u64)
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_find_its_successor() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.len(), 1);
    }
}
