export { joinPath } from '../../../servers/process/paths';
