// SPDX-License-Identifier: BSD-2-Clause
// The xenbus life of one device, seen from the back end, as a function of what both ends say
// (diagrams in xen/io/blkif.h). No I/O, no state.
#pragma once

#include <stdbool.h>
#include <xen/io/xenbus.h>

enum backend_action {
    BACKEND_NONE,
    BACKEND_OPEN,     // open the image, offer features, go to InitWait
    BACKEND_CONNECT,  // take up the frontend's rings, go to Connected
    BACKEND_REATTACH, // open the image, take up rings that another process served; stay
    BACKEND_CLOSING,  // go to Closing; what is in work goes on
    BACKEND_CLOSE     // let go of rings and image, go to Closed
};

struct backend_view {
    enum xenbus_state own, front; // front: XenbusStateUnknown when its node does not exist
    bool online;                  // the toolstack wants the device to exist
    bool opened;                  // this process has the image open
    bool served;                  // this process has the rings
    bool failed;                  // an error was told; wait for the frontend or toolstack to act
};

enum backend_action backend_step(const struct backend_view *v);
