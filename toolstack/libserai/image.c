// SPDX-License-Identifier: BSD-2-Clause
#include "image.h"

#include "bzimage.h"
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xen/features.h>

// What a PV guest may rely on; a kernel that requires more cannot start.
#define IMAGE_FEATURES                                                               \
    (1u << XENFEAT_writable_page_tables | 1u << XENFEAT_writable_descriptor_tables | \
     1u << XENFEAT_pae_pgdir_above_4gb | 1u << XENFEAT_mmu_pt_update_preserve_ad |   \
     1u << XENFEAT_highmem_assist | 1u << XENFEAT_gnttab_map_avail_bits)

int image_fail(struct serai_error *err, int code, const char *path, const struct builder_error *why)
{
    if (why->where == BUILDER_NOWHERE)
        return err_set(err, code, "kernel %s: %s", path, why->what);
    return err_set(err, code, "kernel %s: %s (at %#llx)", path, why->what,
                   (unsigned long long)why->where);
}

static int image_map_file(const char *what, const char *path, int *fd, void **data, size_t *size,
                          struct serai_error *err)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return err_sys(err, -errno, "cannot open %s %s", what, path);
    if (fstat(*fd, &st))
        return err_sys(err, -errno, "cannot examine %s %s", what, path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "%s %s: not a regular file", what, path);
    if (!st.st_size)
        return err_set(err, -EINVAL, "%s %s: the file is empty", what, path);
    *size = (size_t)st.st_size;
    *data = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, *fd, 0);
    if (*data == MAP_FAILED) {
        *data = NULL;
        return err_sys(err, -errno, "cannot map %s %s", what, path);
    }
    return 0;
}

static int image_open_kernel(struct image *im, const char *path, struct serai_error *err)
{
    struct builder_error why = {"damaged", BUILDER_NOWHERE};
    int ret = image_map_file("kernel", path, &im->kernel_fd, &im->kernel_file,
                             &im->kernel_file_size, err);
    if (ret)
        return ret;

    struct builder_blob blob = {im->kernel_file, im->kernel_file_size};
    size_t scratch_size = 0;
    ret = bzimage_measure(blob, &im->kernel_unpacked_size, &scratch_size, &why);
    if (ret)
        return image_fail(err, ret, path, &why);
    void *scratch = NULL;
    if (im->kernel_unpacked_size) {
        scratch = aligned_alloc(16, (scratch_size + 31) & ~(size_t)15);
        // Populated at once: a fault per page would cost more than the unpacking writes.
        im->kernel_unpacked = mmap(NULL, im->kernel_unpacked_size, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (im->kernel_unpacked == MAP_FAILED)
            im->kernel_unpacked = NULL;
        if (!scratch || !im->kernel_unpacked) {
            free(scratch);
            return err_set(err, -ENOMEM, "kernel %s: no memory to unpack it (%zu bytes)", path,
                           im->kernel_unpacked_size);
        }
    }
    ret = bzimage_unpack(blob, im->kernel_unpacked, im->kernel_unpacked_size, scratch, scratch_size,
                         &im->elf, &why);
    free(scratch);
    if (!ret)
        ret = notes_read(&im->elf, &im->notes, &why);
    if (!ret)
        ret = notes_check_pv(&im->elf, &im->notes, IMAGE_FEATURES, &why);
    return ret ? image_fail(err, ret, path, &why) : 0;
}

static int image_open_ramdisk(struct image *im, const char *path, struct serai_error *err)
{
    void *data = NULL;
    size_t size = 0;
    int ret = image_map_file("ramdisk", path, &im->ramdisk_fd, &data, &size, err);
    if (!ret)
        ret = ramdisk_check(data, size, path, err);
    if (data)
        munmap(data, size);
    im->ramdisk_size = size;
    return ret;
}

int image_open(struct image *im, const struct serai_config *c, struct serai_error *err)
{
    *im = (struct image){.kernel_fd = -1, .ramdisk_fd = -1};
    int ret = image_open_kernel(im, c->kernel, err);
    if (!ret && c->ramdisk)
        ret = image_open_ramdisk(im, c->ramdisk, err);
    if (ret)
        image_close(im, false);
    return ret;
}

void image_close(struct image *im, bool exiting)
{
    if (im->kernel_unpacked && !exiting)
        munmap(im->kernel_unpacked, im->kernel_unpacked_size);
    if (im->kernel_file && !exiting)
        munmap(im->kernel_file, im->kernel_file_size);
    if (im->kernel_fd >= 0)
        close(im->kernel_fd);
    if (im->ramdisk_fd >= 0)
        close(im->ramdisk_fd);
    *im = (struct image){.kernel_fd = -1, .ramdisk_fd = -1};
}

int image_read(int fd, uint64_t at, size_t len, void *to)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (uint8_t *)to + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        done += (size_t)n;
    }
    return 0;
}

int image_copy(const struct image *im, const void *src, size_t len, void *to)
{
    if (!im->kernel_unpacked)
        return image_read(im->kernel_fd, (uint64_t)((const uint8_t *)src - im->elf.blob.data), len,
                          to);
    memcpy(to, src, len);
    return 0;
}
