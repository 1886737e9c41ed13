//! The cold face of [`SimDisk`]: each changing call may be the one that the host crashes in.

use super::disk::SimDisk;
use super::image::WriteStage;
use crate::disk::{ColdFiles, DiskError, FileId, FilePlace};

impl ColdFiles for SimDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        let image = self.image.borrow();
        image.check_up()?;
        let live = image.files.iter().filter(|file| file.exists);
        let mut names: Vec<String> = live.map(|file| file.name.clone()).collect();
        names.sort();
        Ok(names)
    }

    fn open(&mut self, name: &str) -> Result<FileId, DiskError> {
        let image = self.image.borrow();
        image.check_up()?;
        let missing = || DiskError::Missing {
            name: name.to_owned(),
        };
        Ok(FileId(image.find(name).ok_or_else(missing)? as u32))
    }

    fn create(&mut self, name: &str, length: u64) -> Result<FileId, DiskError> {
        let mut image = self.image.borrow_mut();
        if image.begin_cold()? {
            let happened = image.dice.below(2) == 1;
            if happened {
                image.create(name, length)?;
            }
            let seed = image.dice.next();
            image.crash(seed);
            return Err(DiskError::Crashed);
        }
        let file = image.create(name, length)?;
        image.end_cold(file)
    }

    fn length(&mut self, file: FileId) -> Result<u64, DiskError> {
        let mut image = self.image.borrow_mut();
        image.check_up()?;
        Ok(image.file(file).length() as u64)
    }

    fn place(&mut self, file: FileId) -> Result<FilePlace, DiskError> {
        let mut image = self.image.borrow_mut();
        image.check_up()?;
        let inode = image.file(file).inode;
        Ok(FilePlace {
            inode,
            birth_ns: inode,
            file_system: image.config.seed,
        })
    }

    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        let mut image = self.image.borrow_mut();
        image.check_up()?;
        image.cold_reads += 1;
        match image.file(file).range(offset as usize, target.len()) {
            Some(bytes) => {
                target.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(image.outside(file, "read")),
        }
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut image = self.image.borrow_mut();
        let crashes = image.begin_cold()?;
        let fits = image
            .file(file)
            .write(offset as usize, bytes.to_vec(), WriteStage::Cached);
        if !fits {
            return Err(image.outside(file, "write"));
        }
        if crashes {
            let seed = image.dice.next();
            image.crash(seed);
            return Err(DiskError::Crashed);
        }
        image.file(file).sync_all();
        image.end_cold(())
    }

    fn sync(&mut self, file: FileId) -> Result<(), DiskError> {
        let mut image = self.image.borrow_mut();
        if image.begin_cold()? {
            let seed = image.dice.next();
            image.crash(seed);
            return Err(DiskError::Crashed);
        }
        image.file(file).sync_all();
        image.end_cold(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        let mut image = self.image.borrow_mut();
        let crashes = image.begin_cold()?;
        let happens = !crashes || image.dice.below(2) == 1;
        let Some(index) = image.find(name) else {
            return Err(DiskError::Missing {
                name: name.to_owned(),
            });
        };
        if happens {
            image.files[index].exists = false;
        }
        if crashes {
            let seed = image.dice.next();
            image.crash(seed);
            return Err(DiskError::Crashed);
        }
        image.end_cold(())
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        let image = self.image.borrow();
        image.check_up()?;
        Ok(image.config.capacity_bytes.saturating_sub(image.used()))
    }

    fn boot_id(&mut self) -> Option<u128> {
        Some(self.image.borrow().boots.into())
    }
}
