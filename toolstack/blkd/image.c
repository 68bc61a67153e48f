// SPDX-License-Identifier: BSD-2-Clause
#include "image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct image_ops *const image_formats[] = {&image_raw};

int image_open(const char *format, const struct image_request *req, struct image **out,
               char why[IMAGE_WHY])
{
    if (!format || !*format)
        format = "raw";
    for (size_t i = 0; i < sizeof(image_formats) / sizeof(image_formats[0]); i++)
        if (!strcmp(image_formats[i]->format, format))
            return image_formats[i]->open(req, out, why);
    snprintf(why, IMAGE_WHY, "%.200s: image format \"%.32s\" is not supported", req->path, format);
    return -EINVAL;
}

void image_close(struct image *img)
{
    if (img)
        img->ops->close(img);
}

void image_read(struct image *img, struct image_io *io)
{
    io->image = img;
    img->ops->read(io);
}

void image_write(struct image *img, struct image_io *io)
{
    io->image = img;
    img->ops->write(io);
}

void image_flush(struct image *img, struct image_io *io)
{
    io->image = img;
    img->ops->flush(io);
}

void image_discard(struct image *img, struct image_io *io)
{
    io->image = img;
    img->ops->discard(io);
}
