/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_APP_APP_H
#define PENSTOCK_APP_APP_H

/* The program: reads the command line and does what it says. Returns the exit status: 0, 1
 * (configuration or start-up failed), 2 (wrong usage). */
int ps_app_main(int argc, char **argv);

#endif
