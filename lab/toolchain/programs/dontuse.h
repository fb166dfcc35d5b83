/* In the driver kit it marks functions as deprecated. Nothing of it is needed to build. */
#ifndef LAB_DONTUSE_H
#define LAB_DONTUSE_H
#endif
