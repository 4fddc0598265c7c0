/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/app/app.h"

int main(int argc, char **argv)
{
    return ps_app_main(argc, argv);
}
