// SPDX-License-Identifier: BSD-2-Clause
#include "backend.h"

static enum backend_action step_waiting(const struct backend_view *v)
{
    if (v->front == XenbusStateClosed)
        return BACKEND_CLOSE;
    if (v->front == XenbusStateClosing)
        return BACKEND_CLOSING;
    if (!v->opened)
        return BACKEND_OPEN; // another process had; features may differ
    if (v->front == XenbusStateInitialised || v->front == XenbusStateConnected)
        return BACKEND_CONNECT;
    return BACKEND_NONE;
}

static enum backend_action step_connected(const struct backend_view *v)
{
    switch (v->front) {
    case XenbusStateInitialised:
    case XenbusStateConnected:
        return v->served ? BACKEND_NONE : BACKEND_REATTACH;
    case XenbusStateClosing:
        return BACKEND_CLOSING;
    case XenbusStateUnknown: // its domain is gone
    case XenbusStateClosed:
    case XenbusStateInitialising: // its driver has started anew without closing
    case XenbusStateInitWait:
        return BACKEND_CLOSE;
    default:
        return BACKEND_NONE;
    }
}

// The frontend lets go when what it has in work is answered, by whichever process.
static enum backend_action step_closing(const struct backend_view *v)
{
    switch (v->front) {
    case XenbusStateInitialised:
    case XenbusStateConnected:
    case XenbusStateClosing:
        return v->served || v->failed ? BACKEND_NONE : BACKEND_REATTACH;
    case XenbusStateUnknown:
    case XenbusStateInitialising:
    case XenbusStateClosed:
        return BACKEND_CLOSE;
    default:
        return BACKEND_NONE;
    }
}

enum backend_action backend_step(const struct backend_view *v)
{
    switch (v->own) {
    case XenbusStateUnknown:
    case XenbusStateInitialising:
        return v->failed ? BACKEND_NONE : BACKEND_OPEN;
    case XenbusStateInitWait:
    case XenbusStateInitialised:
        return step_waiting(v);
    case XenbusStateConnected:
        return step_connected(v);
    case XenbusStateClosing:
        return step_closing(v);
    case XenbusStateClosed:
        if (v->front == XenbusStateInitialising && v->online && !v->failed)
            return BACKEND_OPEN;
        return BACKEND_NONE;
    default:
        return BACKEND_NONE;
    }
}
